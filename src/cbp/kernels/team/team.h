/* A few threads that work in step.
 *
 * Whoever starts a team is its member 0 and owns it. Between two runs the others sleep; no
 * team knows of another. Threads are POSIX threads; on a system without them no team can
 * be started, and its owner works alone.
 */
#ifndef CBP_TEAM_H
#define CBP_TEAM_H

typedef struct cbp_team cbp_team;
typedef void (*cbp_work)(void *job, int member, int members);

/* A team of `members`, this thread included; NULL if the system refuses. */
cbp_team *cbp_team_start(int members);

/* work(job, member, members) on every member; returns when all have returned. Without a
 * team, or in a process that was forked off after its start: on this thread alone. */
void cbp_team_run(cbp_team *team, cbp_work work, void *job);

/* Within cbp_team_run: no member returns before every member has arrived, and what any
 * of them wrote before, all of them read after. */
void cbp_team_wait(cbp_team *team);

/* Ends the threads. Takes NULL. */
void cbp_team_stop(cbp_team *team);

#endif
