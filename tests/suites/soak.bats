#!/usr/bin/env bats
# A mixed load with random SIGKILL and unmounts: no torn read, no lost vector, no stuck mount, no process left.
# Twenty seconds for each transport; VECFS_LONG=1: half an hour. And searches beside changes: six seconds, ten minutes.
# timeout: 300

case ${VECFS_LONG:-0} in
1) seconds=1800 ;;
*) seconds=${VECFS_SOAK_SECONDS:-20} ;;
esac
BATS_TEST_TIMEOUT=$((seconds + 180))
load helper

@test "mixed load with random SIGKILL: all that is durable is there, the rest is a prefix, check is clean" {
	local round=0 end=$((SECONDS + seconds)) load how
	start
	mkdir mnt/docs
	python3 -c '
import whole
open("mnt/docs/w0-0", "wb").write(whole.make(0, 1, 0, 768))'
	while [ $SECONDS -lt $end ]; do
		round=$((round + 1))
		background python3 "$tools/crashload.py" run mnt/docs journal --writers 3 --readers 2 --ids 150 --seed $RANDOM >said
		load=$!
		eventually grep -q running said
		sleep "$((RANDOM % 3)).$((RANDOM % 10))" # any moment will do
		how=$((RANDOM % 5))
		if [ $how -gt 0 ]; then
			kill_daemon
			finishes $load
			[ $((round % 4)) != 0 ] || vecfs check "$store"
		else
			kill -TERM $load
			finishes $load
			if [ $((RANDOM % 2)) = 0 ]; then
				stop
			else
				kill -TERM "$daemon"
				reap
			fi
			vecfs check "$store"
		fi
		start
		python3 "$tools/crashload.py" verify mnt/docs journal --writers 3 --readers 2
		[ "$(metric errors_total)" = 0 ]
	done
	echo "$round rounds"
	[ $round -ge $((seconds / 15)) ]
}

@test "searches through views beside writes, deletions, renames and batches: each answer is the model's of its moment" {
	start
	mkdir mnt/docs
	expect_log ".*: vectors have drifted: .*" # the model is of few vectors
	printf 'dtype=f32\nmetric=l2\ndim=16\n' >mnt/docs/.vecfs/schema
	python3 "$tools/searchload.py" mnt/docs --seconds $((VECFS_LONG ? 600 : 6)) --seed $RANDOM
	[ "$(metric errors_total)" = 0 ]
}

@test "views of twelve codecs beside 8 processes that write, delete, rename and commit: each answer is the model's" {
	start
	mkdir mnt/docs
	expect_log ".*: vectors have drifted: .*"
	printf 'dtype=f32\nmetric=l2\ndim=16\n' >mnt/docs/.vecfs/schema
	python3 "$tools/searchload.py" mnt/docs --processes --writers 8 --searchers 2 --seconds $((VECFS_LONG ? 300 : 6)) \
		--seed $RANDOM --views sq8 f16 bf16 bit rabitq1 rabitq2 rabitq4 rabitq8 pq4 opq4 pq8x4 opq8x4
	[ "$(metric errors_total)" = 0 ]
}
