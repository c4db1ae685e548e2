"""A few threads that work in step, as Cython sees them; see team/team.h."""


cdef extern from "team.h" nogil:
    ctypedef struct cbp_team:
        pass
    ctypedef void (*cbp_work)(void *, int, int) noexcept nogil

    cbp_team *cbp_team_start(int)
    void cbp_team_run(cbp_team *, cbp_work, void *)
    void cbp_team_wait(cbp_team *)
    void cbp_team_stop(cbp_team *)
