/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/cli/interrupt.h"

#include <signal.h>
#include <stddef.h>

static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
static _Atomic int came; /* lock-free: a signal handler sets it, and any thread may look */

static void on_signal(int number)
{
	came = number;
}

void interrupt_catch(void)
{
	/* Without SA_RESTART: the command sees EINTR. */
	struct sigaction action = {.sa_handler = on_signal}, old;

	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
		/* What is ignored stays so: nohup(1), background jobs. */
		if (sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			sigaction(numbers[i], &action, NULL);
	}
}

void interrupt_release(void)
{
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
		struct sigaction now;

		if (sigaction(numbers[i], NULL, &now) == 0 && now.sa_handler == on_signal)
			signal(numbers[i], SIG_DFL);
	}
}

bool interrupt_came(void)
{
	return came != 0;
}

void interrupt_pass_on(pthread_t thread)
{
	if (came)
		pthread_kill(thread, came);
}

void interrupt_ignore_others(void)
{
	static const int others[] = {SIGUSR1, SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF,  SIGIO,
				     SIGPIPE, SIGXFSZ, SIGXCPU, SIGPWR,    SIGSTKFLT};

	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		signal(others[i], SIG_IGN);
	for (int number = SIGRTMIN; number <= SIGRTMAX; number++)
		signal(number, SIG_IGN);
}
