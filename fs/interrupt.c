/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/interrupt.h"

#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t came;

static void on_signal(int number)
{
	came = number;
}

void interrupt_catch(void)
{
	/* Without SA_RESTART: the command sees EINTR. */
	struct sigaction action = {.sa_handler = on_signal};

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
}

bool interrupt_came(void)
{
	return came != 0;
}
