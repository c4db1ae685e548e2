/* Waiting spins for a moment, because a step lasts microseconds, then gives way to other
 * threads, then sleeps: nobody burns a processor that somebody else could use. */
#if !defined(_WIN32)
#define _POSIX_C_SOURCE 200809L
#endif
#include "team.h"

#if defined(_WIN32) || defined(__STDC_NO_ATOMICS__)

#include <stddef.h>

cbp_team *cbp_team_start(int members)
{
    (void)members;
    return NULL;
}
void cbp_team_run(cbp_team *team, cbp_work work, void *job)
{
    (void)team;
    work(job, 0, 1);
}
void cbp_team_wait(cbp_team *team) { (void)team; }
void cbp_team_stop(cbp_team *team) { (void)team; }

#else

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* A spin is some ten nanoseconds. To wake a thread that sleeps takes up to a hundred
 * microseconds, and what a program does between two epochs about as long: whoever yields
 * for a millisecond sleeps through neither. */
#define SPINS 1000
#define NANOSECONDS_OF_YIELDING 1000000
#define CACHE_LINE 64

struct cbp_team {
    _Alignas(CACHE_LINE) atomic_uint arrived;
    _Alignas(CACHE_LINE) atomic_uint meetings; /* how often all have met */
    _Alignas(CACHE_LINE) atomic_int sleepers;
    pthread_mutex_t mutex;
    pthread_cond_t woken;
    cbp_work work; /* NULL: the threads are to end */
    void *job;
    pid_t process;
    atomic_int members;
    struct worker {
        cbp_team *team;
        int member;
        pthread_t thread;
    } workers[];
};

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static long long nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static int have_met(cbp_team *team, unsigned meeting)
{
    return atomic_load_explicit(&team->meetings, memory_order_acquire) != meeting;
}

static void sleep_until_met(cbp_team *team, unsigned meeting)
{
    pthread_mutex_lock(&team->mutex);
    /* Counted before the look at `meetings`, as wake_all writes that before it looks at
     * the count: one of the two sees the other. */
    atomic_fetch_add(&team->sleepers, 1);
    while (atomic_load(&team->meetings) == meeting)
        pthread_cond_wait(&team->woken, &team->mutex);
    atomic_fetch_sub(&team->sleepers, 1);
    pthread_mutex_unlock(&team->mutex);
}

static void meet_all(cbp_team *team, unsigned meeting)
{
    atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
    atomic_store(&team->meetings, meeting + 1);
    if (atomic_load(&team->sleepers)) {
        pthread_mutex_lock(&team->mutex);
        pthread_cond_broadcast(&team->woken);
        pthread_mutex_unlock(&team->mutex);
    }
}

void cbp_team_wait(cbp_team *team)
{
    if (!team) return;
    const unsigned meeting = atomic_load_explicit(&team->meetings, memory_order_relaxed);
    if ((int)atomic_fetch_add(&team->arrived, 1) + 1 == team->members) {
        meet_all(team, meeting);
        return;
    }
    for (int i = 0; i < SPINS; i++) {
        if (have_met(team, meeting)) return;
        relax();
    }
    for (long long start = nanoseconds(); nanoseconds() < start + NANOSECONDS_OF_YIELDING;) {
        if (have_met(team, meeting)) return;
        sched_yield();
    }
    sleep_until_met(team, meeting);
}

static void *follow(void *worker_)
{
    const struct worker *worker = worker_;
    cbp_team *team = worker->team;
    for (;;) {
        cbp_team_wait(team);
        if (!team->work) return NULL;
        team->work(team->job, worker->member, team->members);
        cbp_team_wait(team);
    }
}

static int is_here(const cbp_team *team) { return team && team->process == getpid(); }

void cbp_team_run(cbp_team *team, cbp_work work, void *job)
{
    if (!is_here(team)) {
        work(job, 0, 1);
        return;
    }
    team->work = work;
    team->job = job;
    cbp_team_wait(team);
    work(job, 0, team->members);
    cbp_team_wait(team);
}

/* Ends the first `started` of the workers and gives the memory back. */
static void dismiss(cbp_team *team, int started)
{
    team->work = NULL;
    team->members = started + 1;
    cbp_team_wait(team);
    for (int i = 0; i < started; i++) pthread_join(team->workers[i].thread, NULL);
    pthread_cond_destroy(&team->woken);
    pthread_mutex_destroy(&team->mutex);
    free(team);
}

cbp_team *cbp_team_start(int members)
{
    const size_t size = sizeof(cbp_team) + (size_t)members * sizeof(struct worker);
    cbp_team *team = aligned_alloc(CACHE_LINE, (size / CACHE_LINE + 1) * CACHE_LINE);
    sigset_t all, before;
    int started = 0;
    if (!team) return NULL;
    atomic_init(&team->arrived, 0);
    atomic_init(&team->meetings, 0);
    atomic_init(&team->sleepers, 0);
    pthread_mutex_init(&team->mutex, NULL);
    pthread_cond_init(&team->woken, NULL);
    team->process = getpid();
    atomic_init(&team->members, members);
    /* Signals are for the threads of the program. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (; started < members - 1; started++) {
        struct worker *worker = &team->workers[started];
        worker->team = team;
        worker->member = started + 1;
        if (pthread_create(&worker->thread, NULL, follow, worker)) break;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (started < members - 1) {
        dismiss(team, started);
        return NULL;
    }
    return team;
}

void cbp_team_stop(cbp_team *team)
{
    /* In a forked process there are no threads to join; what another thread may have
     * held of the team when the process was copied is left alone. */
    if (is_here(team)) dismiss(team, team->members - 1);
}

#endif
