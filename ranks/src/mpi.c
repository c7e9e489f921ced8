// The calls of MPI that a run needs, on a communicator of its own: a host program's messages (mpi4py's) are not mixed with ours.
// Handles and constants are macros in every MPI library, which only C can read. An error inside MPI ends all ranks: that is
// MPI's own way (MPI_ERRORS_ARE_FATAL), and nothing sensible can be done after one.
#define _POSIX_C_SOURCE 200809L
#include <mpi.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static MPI_Comm comm = MPI_COMM_NULL;

// Ends all ranks. Where MPI cannot tell the others, this one ends a little later by itself.
void pdloss_ranks_abort(int code) {
    signal(SIGALRM, SIG_DFL);
    alarm(10);
    MPI_Abort(MPI_COMM_WORLD, code);
    _exit(code);
}

// Finalises at the end of a process whose host does not.
static void end(void) {
    int finalized = 0;
    MPI_Finalized(&finalized);
    if (!finalized) MPI_Finalize();
}

// Whether the host has initialised MPI, and not finalised it.
int pdloss_ranks_begun(void) {
    int initialized = 0, finalized = 0;
    MPI_Initialized(&initialized);
    MPI_Finalized(&finalized);
    return initialized && !finalized;
}

// Joins the world, which the host may have initialised. 0, or why not: 1 finalised already, 2 threads are not supported.
int pdloss_ranks_join(int *rank, int *size, int *local_rank, char *host, int host_size, int is_guest) {
    int initialized = 0, finalized = 0, provided = 0, length = 0;
    char name[MPI_MAX_PROCESSOR_NAME];
    MPI_Comm node;
    MPI_Finalized(&finalized);
    if (finalized) return 1;
    MPI_Initialized(&initialized);
    if (initialized) {
        MPI_Query_thread(&provided);
    } else {
        MPI_Init_thread(NULL, NULL, MPI_THREAD_MULTIPLE, &provided);
        // A program that ends by itself without it has failed: its launcher then ends the other ranks, where this would wait.
        if (is_guest) atexit(end);
    }
    // Calls are made one at a time, but from whichever thread runs the graph.
    if (provided < MPI_THREAD_SERIALIZED) return 2;
    MPI_Comm_dup(MPI_COMM_WORLD, &comm);
    MPI_Comm_rank(comm, rank);
    MPI_Comm_size(comm, size);
    MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node);
    MPI_Comm_rank(node, local_rank);
    MPI_Comm_free(&node);
    MPI_Get_processor_name(name, &length);
    if (length >= host_size) length = host_size - 1;
    for (int at = 0; at < length; at++) host[at] = name[at];
    host[length] = 0;
    return 0;
}

// Waits until every rank is here: MPI's own waiting takes a whole processor, which a rank that still works may need.
void pdloss_ranks_meet(void) {
    MPI_Request request;
    int done = 0;
    double began = MPI_Wtime();
    MPI_Ibarrier(comm, &request);
    for (;;) {
        MPI_Test(&request, &done, MPI_STATUS_IGNORE);
        if (done) return;
        double waited = MPI_Wtime() - began;
        if (waited > 0.001) {
            struct timespec nap = {0, waited > 0.1 ? 1000000 : 50000};
            nanosleep(&nap, NULL);
        }
    }
}

// Where nothing is: the address of an empty slice may be any, MPI_IN_PLACE among them.
static char nothing;

static const void *given(const void *bytes, int count) { return count > 0 ? bytes : &nothing; }

static void *taken(void *bytes, int count) { return count > 0 ? bytes : &nothing; }

// `counts[r]` bytes of every rank r, one after the other in `all`, which is not empty.
void pdloss_ranks_gather(const void *own, void *all, const int *counts, const int *offsets, int rank) {
    MPI_Allgatherv(given(own, counts[rank]), counts[rank], MPI_BYTE, all, counts, offsets, MPI_BYTE, comm);
}

// The same on the first rank alone; the others take nothing.
void pdloss_ranks_collect(const void *own, void *all, const int *counts, const int *offsets, int rank) {
    MPI_Gatherv(given(own, counts[rank]), counts[rank], MPI_BYTE, rank == 0 ? all : NULL, counts, offsets, MPI_BYTE, 0, comm);
}

void pdloss_ranks_broadcast(void *bytes, int count) { MPI_Bcast(bytes, count, MPI_BYTE, 0, comm); }

void pdloss_ranks_sum_f32(float *values, int count) {
    MPI_Allreduce(MPI_IN_PLACE, values, count, MPI_FLOAT, MPI_SUM, comm);
}

void pdloss_ranks_sum_f64(double *values, int count) {
    MPI_Allreduce(MPI_IN_PLACE, values, count, MPI_DOUBLE, MPI_SUM, comm);
}

void pdloss_ranks_sum_u64(unsigned long long *values, int count) {
    MPI_Allreduce(MPI_IN_PLACE, values, count, MPI_UNSIGNED_LONG_LONG, MPI_SUM, comm);
}

// To the next rank of the ring and from the one before, at the same time.
void pdloss_ranks_pass(const void *give, int give_count, int to, void *take, int take_count, int from) {
    MPI_Sendrecv(given(give, give_count), give_count, MPI_BYTE, to, 0, taken(take, take_count), take_count, MPI_BYTE, from, 0,
                 comm, MPI_STATUS_IGNORE);
}

void pdloss_ranks_finish(void) { end(); }

// May be called before anything else. `text` holds `size` bytes.
void pdloss_ranks_library(char *text, int size) {
    char version[MPI_MAX_LIBRARY_VERSION_STRING];
    int length = 0, at = 0;
    MPI_Get_library_version(version, &length);
    for (; at < length && at < size - 1 && version[at] != '\n' && version[at] != ','; at++) text[at] = version[at];
    text[at] = 0;
}
