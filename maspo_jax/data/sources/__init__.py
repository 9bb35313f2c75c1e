"""Where problems come from: files, the hub, made on the spot, selections of them."""
