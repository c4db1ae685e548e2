"""The activations and losses that there are.

    names           which of them go together
    derivatives     the factors of the chain rule, each by itself, over whole arrays

At the bottom: everybody may ask, nothing here knows of networks.
"""
