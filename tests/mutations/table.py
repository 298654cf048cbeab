"""The mutations: for each promise, ways to break it, and the quickest tests that notice.

When code moves, its text is no longer found and the mutation's test says so: the table follows the code. Those that
take longest come first.
"""

from __future__ import annotations

from tests.mutations.mutation import Change, Mutation, Promise

WITNESSES = "tests/mutations/test_witnesses.py"
WORKER = "tests/node/test_worker.py"
WORKER_FAULTS = "tests/fault/test_worker_faults.py"
PUBLISH = "tests/broker/test_publish.py"
PUBLISH_FAULTS = "tests/fault/test_publish_faults.py"
POOL = "tests/unit/pool/test_pool.py"

MARK = """VERSION = 1

def _mark():
    with open(__file__ + ".marked", "a") as marks:
        print(os.getpid(), file=marks)

_mark()
os.register_at_fork(after_in_child=_mark)
"""

# Not a promise: it proves that what is broken in a copy is what every process of a test then runs.
PROBE = Mutation(
    name="every process is marked",
    promise=None,
    breaks="no process runs the copy",
    changes=(Change("pool/link.py", "VERSION = 1\n", MARK),),
    red=(f"{WITNESSES}::test_no_process_runs_code_that_marks_itself",),
    sign="test program node template executor executor",
)

MUTATIONS: tuple[Mutation, ...] = (
    Mutation(
        name="no adoption",
        promise=Promise.SESSION,
        breaks="a task that runs on while its connection is cut, and comes back to this node, does not run again",
        changes=(
            Change(
                "node/settler.py",
                "        known = self._orphans.take(delivery)\n",
                "        known = None\n",
            ),
        ),
        red=(f"{WORKER_FAULTS}::test_pain6_a_cut_link_does_not_run_a_task_twice_where_its_execution_lives_on",),
        sign="extra runs, at most 0 allowed",
        patience_s=15.0,  # without adoption the tasks take longer, and end all the same
    ),
    Mutation(
        name="lost confirms count as accepted",
        promise=Promise.PUBLISHED,
        breaks="what was unconfirmed on a lost connection is sent again, or said to be uncertain",
        changes=(
            Change(
                "publish/outbox.py",
                "            entry.in_doubt = True\n",
                "            self._settle(entry, None)\n            continue\n",
            ),
        ),
        red=(f"{PUBLISH_FAULTS}::test_s26_max_retries_bounds_the_sends",),
        sign="DID NOT RAISE",
    ),
    Mutation(
        name="a lost channel orphans nothing",
        promise=Promise.SESSION,
        breaks="a task whose channel the broker closed, and which comes back here while it runs, does not run again",
        changes=(
            Change("node/node.py", "        self._forget_deliveries(self._pool_of[consumer.index], consumer)\n", ""),
        ),
        red=(f"{WITNESSES}::test_k11_a_task_that_outlasts_the_brokers_patience_runs_once",),
        sign="it did not come back",
    ),
    Mutation(
        name="delivery tags outlive their channel",
        promise=Promise.SESSION,
        breaks="a tag of a lost connection acknowledges nothing on the next one",
        changes=(
            Change("consume/consumer.py", "        self.generation += 1\n", "        self.generation = 1\n"),
            Change("node/node.py", "        self._settler.lost(None)\n", ""),
        ),
        red=(f"{WITNESSES}::test_k11_a_late_dead_letter_of_a_lost_session_acknowledges_nothing_of_the_next",),
        sign="'work' has 0 ready messages",
    ),
    Mutation(
        name="a dead letter under way is forgotten at a cut",
        promise=Promise.SESSION,
        breaks="what failed, and whose dead letter is under way when its connection is cut, does not run again",
        changes=(Change("node/node.py", "        self._settler.lost(None)\n", ""),),
        red=(f"{WITNESSES}::test_k11_a_late_dead_letter_of_a_lost_session_acknowledges_nothing_of_the_next",),
        sign="it ran again",
    ),
    Mutation(
        name="the end of an orphan is not kept",
        promise=Promise.SESSION,
        breaks="what ended while the connection was down is settled when it comes back",
        changes=(
            Change(
                "node/settler.py",
                '            self._orphans.ended(delivery, Outcome(Kind.IGNORED, "succeeded"))\n',
                "            pass\n",
            ),
        ),
        red=(f"{WITNESSES}::test_k11_what_ends_while_the_link_is_down_is_settled_when_it_comes_back",),
        sign="not all of 1 tasks ended",
    ),
    Mutation(
        name="a dead orphan is adopted",
        promise=Promise.SESSION,
        breaks="what was killed while the connection was down runs again",
        changes=(
            Change(
                "node/settler.py", "                self._orphans.drop(delivery)  # it", "                pass  # it"
            ),
        ),
        red=(f"{WITNESSES}::test_k11_what_is_killed_while_the_link_is_down_runs_again",),
        sign="not all of 1 tasks ended",
    ),
    Mutation(
        name="counts outlive their channel",
        promise=Promise.SESSION,
        breaks="after a cut every slot gets work again",
        changes=(
            Change(
                "consume/consumer.py",
                "        self.unsettled = self.carried = self._last_delivery = self._boundary = 0\n",
                "",
            ),
        ),
        red=(f"{WITNESSES}::test_k10_after_a_cut_all_slots_get_work_again",),
        sign="fewer than 4 runs",
    ),
    Mutation(
        name="what waited outlives its session",
        promise=Promise.SESSION,
        breaks="what was received on a lost connection and has not started is forgotten",
        changes=(
            Change(
                "node/node.py",
                "if lost is not None and delivery.source is not lost]",
                "if delivery.source is not lost]",
            ),
        ),
        red=(f"{WITNESSES}::test_k10_what_waited_in_the_node_at_a_cut_does_not_run_twice",),
        sign="times too often",
        patience_s=10.0,  # the tasks take longer, and end all the same
    ),
    Mutation(
        name="acknowledged on receipt",
        promise=Promise.DELIVERED,
        breaks="a delivery is acknowledged after its task, so that a killed node loses none",
        changes=(
            Change(
                "consume/consumer.py",
                "            self._taker.delivered(delivery)\n",
                "            self.ack(delivery); delivery.generation = -1; self._taker.delivered(delivery)\n",
            ),
        ),
        red=(f"{WORKER}::test_k11_a_killed_node_takes_its_processes_along_and_loses_nothing",),
        sign="fewer than 8 runs",
    ),
    Mutation(
        name="executors outlive their node",
        promise=Promise.DELIVERED,
        breaks="nothing runs on when its node is killed",
        changes=(
            Change(
                "pool/template.py",
                "        process.die_with_parent(self._node_pid)\n        executor.main",
                "        executor.main",
            ),
        ),
        red=(f"{WORKER}::test_k11_a_killed_node_takes_its_processes_along_and_loses_nothing",),
        sign="its processes did not end|lost",
    ),
    Mutation(
        name="crashes are not counted",
        promise=Promise.DELIVERED,
        breaks="a task that kills its process is given up after max_crashes",
        changes=(Change("node/settler.py", "        delivery.crashes += 1\n", ""),),
        red=(
            f"{WORKER}::test_k11_a_task_that_kills_its_process_is_dead_lettered_after_three_crashes_and_nobody_else_is",
        ),
        sign="'work.dlq' has 0 ready messages",
    ),
    Mutation(
        name="a crash is charged to neighbours",
        promise=Promise.DELIVERED,
        breaks="a crash is charged to what ran, and to nothing that only waited in the same process",
        changes=(
            Change(
                "pool/pool.py",
                "        untaken = executor.take_back()\n        taken = list(executor.outstanding.values())\n",
                "        untaken = []\n        taken = list(executor.outstanding.values())\n",
            ),
        ),
        # Not the witness of a real node: whether something waits in the socket as the process dies is a matter of time.
        red=(f"{POOL}::test_k11_only_what_was_taken_is_charged_when_an_executor_dies",),
        sign="world.crashes",
    ),
    Mutation(
        name="acknowledged though its dead letter was not taken",
        promise=Promise.DELIVERED,
        breaks="a task is acknowledged after its dead letter is confirmed",
        changes=(Change("node/settler.py", "        if error is None:\n", "        if True:\n"),),
        red=(f"{WITNESSES}::test_k14_a_task_whose_dead_letter_cannot_be_published_is_kept",),
        sign="'work' has 0 ready messages",
    ),
    Mutation(
        name="the watchdog is told that all is well",
        promise=Promise.DELIVERED,
        breaks="a node that gets nowhere is restarted by its service manager",
        changes=(
            Change(
                "node/node.py",
                "        if not any(pool.stalled(period_s / 2) for pool in self._pools):\n",
                "        if True:\n",
            ),
        ),
        red=(f"{WITNESSES}::test_c22_a_node_that_gets_nowhere_stops_telling_the_service_manager_that_it_lives",),
        sign="it says that it lives",
    ),
    Mutation(
        name="a busy pool keeps what waits in it",
        promise=Promise.WAITS,
        breaks="what no slot will be free for soon goes back to its queue",
        changes=(
            Change(
                "node/node.py",
                "                if pool.full and pool.plan.name not in self._held:\n",
                "                if False:\n",
            ),
        ),
        red=(f"{WITNESSES}::test_k12_a_pool_that_is_busy_for_long_gives_back_what_waits_in_it",),
        sign="'work' has 0 ready messages",
    ),
    Mutation(
        name="a busy pool never takes work again",
        promise=Promise.WAITS,
        breaks="a pool that gave back what it could not start consumes again when a slot is free",
        changes=(Change("node/node.py", "                self._release(pool)\n", "                pass\n"),),
        red=(f"{WITNESSES}::test_k12_a_pool_that_is_busy_for_long_gives_back_what_waits_in_it",),
        sign="not all of 5 tasks ended",
    ),
    Mutation(
        name="a paused consumer keeps what arrives",
        promise=Promise.WAITS,
        breaks="what arrives while a busy pool takes nothing is given back",
        changes=(
            Change(
                "consume/consumer.py",
                "        if self.paused or self._stopped:\n            self.give_back(delivery)\n",
                "        if self._stopped:\n            self.give_back(delivery)\n",
            ),
        ),
        red=(f"{WITNESSES}::test_k12_what_arrives_while_a_busy_pool_takes_nothing_is_given_back",),
        sign="'work' has 1 ready messages",
    ),
    Mutation(
        name="late executors keep what they have not started",
        promise=Promise.WAITS,
        breaks="what waits behind a task that turns out long runs elsewhere",
        changes=(
            Change(
                "pool/pool.py",
                "                untaken += self._relieve(executor, now)\n",
                "                pass\n",
            ),
        ),
        red=(f"{POOL}::test_pain20_what_waits_behind_a_task_that_turns_out_long_is_taken_back_in_order",),
        sign=r"len\(first.outstanding\)",
    ),
    Mutation(
        name="prefetch ignores how long tasks last",
        promise=Promise.WAITS,
        breaks="long tasks get one message per slot",
        changes=(
            Change(
                "consume/credit.py",
                "        ahead = min(self.max_ahead, int(self.slots * self.ahead_s / max(runtime_s, 1e-5)))\n",
                "        ahead = self.max_ahead\n",
            ),
        ),
        red=("tests/unit/consume/test_credit.py::test_k12_long_and_unknown_tasks_get_one_message_per_slot",),
        sign="assert policy.prefetch",
    ),
    Mutation(
        name="a draining node keeps what has not started",
        promise=Promise.STOPPING,
        breaks="SIGTERM gives back at once what has not started",
        changes=(
            Change(
                "node/node.py",
                "            for delivery in pool.take_back():\n                delivery.source.give_back(delivery)\n"
                "            pool.stop()\n",
                "            pool.stop()\n",
            ),
        ),
        red=(f"{WITNESSES}::test_k22_a_draining_node_gives_back_at_once_what_it_could_not_start",),
        sign="'work' has 0 ready messages",
    ),
    Mutation(
        name="a dead letter that cannot be published holds the node",
        promise=Promise.STOPPING,
        breaks="SIGTERM ends the node within its drain time, whatever is open",
        changes=(
            Change(
                "node/node.py",
                "            self._cut()\n            busy = False\n",
                "            busy = bool(self._settler.pending)\n",
            ),
        ),
        red=(f"{WITNESSES}::test_k22_a_dead_letter_that_cannot_be_published_does_not_hold_the_node",),
        sign="it did not end",
    ),
    Mutation(
        name="no drain time",
        promise=Promise.STOPPING,
        breaks="SIGTERM lets running tasks end",
        changes=(
            Change(
                "node/node.py",
                "        self._cut_at = self._draining_since + self.plan.drain_s\n",
                "        self._cut_at = self._clock.monotonic()\n",
            ),
        ),
        red=(f"{WORKER}::test_k22_sigterm_gives_back_what_has_not_started_and_finishes_what_has",),
        sign="any.*run.cut",
    ),
    Mutation(
        name="published before the confirm",
        promise=Promise.PUBLISHED,
        breaks="a publish returns after the broker's ack",
        changes=(
            Change(
                "publish/lane.py",
                "        self.session.send(data)\n",
                "        self.session.send(data)\n        self._settle(entry, None)\n",
            ),
        ),
        red=(f"{PUBLISH}::test_k08_full_reject_publish_queue_refuses",),
        sign="DID NOT RAISE",
    ),
    Mutation(
        name="not mandatory",
        promise=Promise.PUBLISHED,
        breaks="a message that no queue takes is an error",
        changes=(Change("publish/lane.py", "                mandatory=True,\n", "                mandatory=False,\n"),),
        red=(f"{PUBLISH}::test_k09_unroutable_is_an_error",),
        sign="DID NOT RAISE",
    ),
    Mutation(
        name="not persistent",
        promise=Promise.PUBLISHED,
        breaks="every message survives a restart of the broker",
        changes=(Change("wire/message.py", "PERSISTENT = 2\n", "PERSISTENT = 1\n"),),
        red=("tests/unit/wire/test_task.py::test_what_is_encoded_is_read_back",),
        sign="delivery_mode == 2",
    ),
    Mutation(
        name="no deadline",
        promise=Promise.PUBLISHED,
        breaks="each send ends by its deadline",
        changes=(
            Change(
                "publish/outbox.py",
                "        self._timer = self._loop.call_later(at - self._clock.monotonic(), self._sweep)\n",
                "        self._timer = None\n",
            ),
        ),
        red=(f"{PUBLISH_FAULTS}::test_pain10_nobody_answers_the_connection",),
        sign="PublishUncertain",
    ),
    Mutation(
        name="queues that nobody declared are accepted",
        promise=Promise.NAMES,
        breaks="a typo in a queue's name is an error",
        changes=(
            Change("topology/model.py", "        declared = bool(settings.queues)\n", "        declared = False\n"),
            Change("settings/checks.py", "        if queue not in declared:\n", "        if False:\n"),
        ),
        red=(
            "tests/unit/app/test_app.py::test_s39_undeclared_queues_are_refused_where_some_are_declared",
            "tests/unit/settings/test_checks.py::test_pain_15_an_undeclared_name_names_the_nearest",
        ),
        sign="DID NOT RAISE|assert 'is not declared'",
    ),
    Mutation(
        name="unknown settings are ignored",
        promise=Promise.NAMES,
        breaks="a setting that does not exist is an error",
        changes=(
            Change(
                "settings/layers.py",
                '        self.problem(dotted(path), f"unknown setting{hint(near)}", origin, near=near)\n',
                "",
            ),
        ),
        red=("tests/unit/settings/test_precedence.py::test_c27_an_unknown_key_names_the_nearest",),
        sign="DID NOT RAISE",
    ),
    Mutation(
        name="refused messages are acknowledged",
        promise=Promise.UNDERSTOOD,
        breaks="what cannot be understood is dead-lettered with a reason",
        changes=(
            Change(
                "execute/outcome.py",
                "        case Kind.IGNORED:\n",
                "        case Kind.IGNORED | Kind.REFUSED:\n",
            ),
        ),
        red=(f"{WORKER}::test_b26_what_cannot_be_understood_is_one_dead_letter_each_and_the_node_goes_on",),
        sign="'work.dlq' has 0 ready messages",
    ),
    Mutation(
        name="executors may speak any version",
        promise=Promise.UNDERSTOOD,
        breaks="an executor that speaks another version of the hand-over gets no work",
        changes=(Change("pool/pool.py", "        if version != link.VERSION:\n", "        if False:\n"),),
        red=(f"{WITNESSES}::test_an_executor_that_speaks_another_version_gets_no_work",),
        sign="world.killed",
    ),
)
