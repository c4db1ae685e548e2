"""The activations and losses that there are: all that is known of each, in one record.

    activations     `cbp.activations`
    losses          `cbp.losses`
    spec            what records have in common: parameters, names, equality
    ieee            exp and log of one number

At the bottom: everybody may ask, nothing here knows of networks.
"""
