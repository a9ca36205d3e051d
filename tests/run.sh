#!/bin/sh
# All tests in Python, in two processes: what most of them do is wait, for servers, timers and pictures. Those that need
# no screen, no sound and no browser run beside the others, and say what became of them when these have ended.
set -u
beside="tests/deploy tests/loadtests tests/observability tests/protocol tests/rtp tests/congestion tests/service
	tests/cluster"
said=$(mktemp)
# With less of a busy machine, for it is the others that look at moving pictures. A shell's background process would not
# hear of Ctrl-C, and leave what it started.
nice -n 5 env --default-signal=INT .venv/bin/pytest -o cache_dir=.pytest_cache/beside $beside >"$said" 2>&1 &
second=$!
trap 'kill -INT "$second" 2>/dev/null; wait "$second"; rm -f "$said"' EXIT
trap 'exit 130' INT TERM

.venv/bin/pytest $(printf -- '--ignore=%s ' $beside)
first_status=$?
echo "The tests beside these:"
wait "$second"
second_status=$?
cat "$said"
[ "$first_status" -eq 0 ] && [ "$second_status" -eq 0 ]
