"""What is ascended: advantages, token weights, gates, and the one surrogate.

    reward --advantages--> A [N, T]      mask --token_weights--> w [N, T]
    sum over tokens of w * gate * ratio * A, less the loss terms

`gates` decide how much of a token's gradient passes; `surrogate` is the loss, `terms`
are added to it; `correction`, `kl` and `shaping` are other parts of an objective. How
to add a gate, an advantage or a term, with its row in the tests: experiments/README.md.
"""
