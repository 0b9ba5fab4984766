/* Does nothing until it is told to end. As process 1 it also has to collect the dead of a shared process namespace. */
#include <signal.h>
#include <unistd.h>

static void end(int signal) { (void)signal; _exit(0); }

int main(void) {
    struct sigaction ends = {.sa_handler = end};
    struct sigaction collects = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT};
    sigaction(SIGTERM, &ends, 0);
    sigaction(SIGINT, &ends, 0);
    sigaction(SIGCHLD, &collects, 0);
    for (;;) pause();
}
