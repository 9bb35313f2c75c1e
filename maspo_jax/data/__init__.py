"""Problems, how they are asked, and how they become batches of tokens."""
