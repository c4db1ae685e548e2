"""The compiled arithmetic: `propagator.Propagator`, and what it stands on.

    propagator      the door: owns the memory and the threads, checks every array
    equations       the forward pass and BP1 to BP4, layer by layer
    steps           the epoch over blocks of rows, and who of a team does what
    summary         sums up an epoch
    workspace       where each buffer lies; between the plain and the packed layout
    simd/           C: products, activations, losses and updates of one block of rows
    team/           C: a few threads that work in step

Called by `cbp.network` only. Everything below the door is ``noexcept nogil``, owns
nothing, allocates nothing and cannot fail.
"""
