#!/usr/bin/env bash
# Shows what Kaa does, request by request, and checks every answer.
#
#   scripts/example_test.sh [URL]
#
# URL is $KAA_URL or http://127.0.0.1:8080 if it is not given. An API key is taken
# from $KAA_API_KEY. Needs curl and python3, and a Kaa with its default limits and
# queues. It leaves nothing behind but finished jobs, which expire. Exit code 1 if a
# check failed.
set -euo pipefail

case ${1:-} in
-h | --help)
	sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
	exit
	;;
esac
url=${1:-${KAA_URL:-http://127.0.0.1:8080}}
url=${url%/}
for tool in curl python3; do
	command -v "$tool" >/dev/null || {
		echo "$0: $tool is missing" >&2
		exit 2
	}
done
# Starting the interpreter itself is faster than going through a shim each time.
python=$(python3 -c 'import sys; print(sys.executable)')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0
failed=0

# --- asking and checking -----------------------------------------------------

# The answer of the last request is in $work/status, head and body. This reads it:
#   answer get EXPRESSION                 prints its value
#   answer check [NAME EXPRESSION]...     prints ok or FAIL for each
# In an expression, status is a number, headers has lower-case names, text is the
# body, body what it says in JSON, and time(s) the seconds of a point in time.
cat >"$work/answer.py" <<'END'
import calendar, json, re, sys

def time(s):
    y, mo, d, h, mi, sec = re.fullmatch(r"(\d+)-(\d+)-(\d+)T(\d+):(\d+):([\d.]+)Z", s).groups()
    return calendar.timegm((int(y), int(mo), int(d), int(h), int(mi), 0)) + float(sec)

work, command, arguments = sys.argv[1], sys.argv[2], sys.argv[3:]
with open(work + "/status") as f:
    status = int(f.read())
headers = {}
with open(work + "/head", encoding="latin-1") as f:
    for line in f:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
with open(work + "/body", encoding="utf-8", newline="") as f:
    text = f.read()
try:
    body = json.loads(text)
except ValueError:
    body = None
known = {"status": status, "headers": headers, "text": text, "body": body, "re": re, "time": time}
if command == "get":
    try:
        print(eval(arguments[0], known))
    except Exception:
        print("nothing")  # what is done with it will fail, and be shown
    sys.exit()
failed = 0
for name, expression in zip(arguments[::2], arguments[1::2]):
    try:
        good, why = eval(expression, known), "not true: " + expression
    except Exception as e:
        good, why = False, "%s in: %s" % (repr(e), expression)
    print("ok   " + name if good else "FAIL %s\n     %s" % (name, why))
    failed += not good
if failed:
    print("     the answer was %d %s" % (status, text[:1000].rstrip()))
sys.exit(min(failed, 100))
END

section() { printf '\n== %s\n' "$*"; }

# request METHOD PATH [BODY [CURL-OPTION]...]
# content_type=TYPE before it sends another type than JSON.
request() {
	local method=$1 path=$2 data=${3:-}
	local options=(-H "Content-Type: ${content_type:-application/json}")
	shift $(($# < 3 ? $# : 3))
	if [ -n "${KAA_API_KEY:-}" ]; then
		options+=(-H "Authorization: Bearer $KAA_API_KEY")
	fi
	if [ -n "$data" ]; then
		options+=(--data-binary "$data")
	fi
	local shown=${data:0:300}
	printf '\n> %s %s %s%s\n' "$method" "$path" "${shown//$'\n'/ }" "${*:+ ($*)}"
	: >"$work/head"
	: >"$work/body"
	# A server may answer and hang up before it has read a body that is too large.
	curl -sS -m 100 -X "$method" "${options[@]}" "$@" -D "$work/head" -o "$work/body" \
		-w '%{http_code}' "$url$path" >"$work/status" 2>"$work/trouble" || [ "$(cat "$work/status")" != 000 ] ||
		cat "$work/trouble"
	printf '< %s %s\n' "$(cat "$work/status")" "$(head -c 500 "$work/body" | tr -d '\0' | tr '\n' ' ')"
}

run() { request POST /process/interpreter/execute "$@"; }

# expect [NAME EXPRESSION]...
expect() {
	local bad=0
	"$python" -I "$work/answer.py" "$work" check "$@" || bad=$?
	failed=$((failed + bad))
	passed=$((passed + $# / 2 - bad))
}

# problem STATUS CODE: the answer is that problem, as RFC 9457 wants it.
problem() {
	expect "it is a $1 problem with the code $2" \
		"status == $1 == body['status'] and body['code'] == '$2' and body['title'] and body['detail'] and headers['content-type'] == 'application/problem+json'"
}

value() { "$python" -I "$work/answer.py" "$work" get "$1"; }

# await_state ID STATE: polls until the job is in that state.
await_state() {
	local _
	for _ in $(seq 100); do
		request GET "/v1/jobs/$1" >/dev/null
		[ "$(value "body.get('state')")" != "$2" ] || return 0
		sleep 0.1
	done
	echo "the job did not become $2"
}

echo "Kaa at $url"
request GET /healthz
[ "$(cat "$work/status")" = 200 ] || {
	echo "$0: no Kaa answers at $url" >&2
	exit 1
}

# --- execute -----------------------------------------------------------------

section "Print"
run '{"code": "print(\"Hello, World!\")"}'
expect "answered with 200" "status == 200" \
	"status ok" "body['status'] == 'ok' and body['exitCode'] == 0 and 'error' not in body" \
	"stdout is what was printed" "body['stdout'] == 'Hello, World!\n' and body['stderr'] == ''" \
	"a session and a job have ids" "body['sessionId'] and body['jobId']" \
	"times are told" "body['durationMs'] > 0 and body['queuedMs'] >= 0"
job=$(value "body.get('jobId')")
request GET "/v1/jobs/$job"
expect "a poll after the answer sees the finished job" \
	"status == 200 and body['state'] == 'completed' and body['result']['stdout'] == 'Hello, World!\n'"

section "Variables, functions, loops"
run '{"code": "def square(n):\n    return n * n\n\ntotal = 0\nfor i in range(1, 6):\n    total += square(i)\n    print(i, total)\n"}'
expect "the loop ran" "body['status'] == 'ok' and body['stdout'] == '1 1\n2 5\n3 14\n4 30\n5 55\n'"

section "stdout and stderr apart"
run '{"code": "import sys\nprint(\"out\")\nprint(\"err\", file=sys.stderr)\nprint(\"out again\")"}'
expect "each has its own" "body['stdout'] == 'out\nout again\n' and body['stderr'] == 'err\n'"

section "Unicode"
run '{"code": "print(\"Grüße, 世界 🐍\")\nimport os\nos.write(1, bytes([255, 10]))"}'
expect "text is kept, bytes that are not UTF-8 read as U+FFFD" "body['stdout'] == 'Grüße, 世界 🐍\n\ufffd\n'"

section "Environment variables"
run '{"code": "import os\nprint(os.environ[\"MY_VAR\"])\nprint([n for n in os.environ if n.startswith(\"KAA_\")])", "envs": {"MY_VAR": "test"}}'
expect "the code sees what was sent, and nothing of Kaa" "body['stdout'] == 'test\n[]\n'"

section "Standard input"
run '{"code": "name = input()\nprint(\"Hello,\", name)\nimport sys\nprint(repr(sys.stdin.read()))", "stdin": "Ada\nand more\n"}'
expect "the code reads it" "body['stdout'] == \"Hello, Ada\n'and more\\\\n'\n\""
run '{"code": "input()"}'
expect "there is none unless it was sent" "body['status'] == 'error' and body['error']['name'] == 'EOFError'"

section "Output of child processes"
run '{"code": "import os, subprocess, sys\nprint(\"parent\")\nsubprocess.run([sys.executable, \"-c\", \"print(1 + 1)\"])\nos.system(\"echo shell; echo trouble >&2\")"}'
expect "it is captured, in order" "body['stdout'] == 'parent\n2\nshell\n' and body['stderr'] == 'trouble\n'"

section "Truncated output"
run '{"code": "print(\"begin\")\nfor i in range(2000000): print(\"x\" * 9)\nprint(\"end\")"}'
expect "the run went on to its end" "status == 200 and body['status'] == 'ok'" \
	"dropped bytes are counted" "body['truncated']['stdout'] > 0 == body['truncated']['stderr']" \
	"head and tail are kept" "body['stdout'].startswith('begin\nxxxxxxxxx\n') and body['stdout'].endswith('xxxxxxxxx\nend\n')" \
	"nothing else is lost" "len(re.sub(r'\n\.\.\. \[\d+ bytes dropped\] \.\.\.\n', '', body['stdout'], 1)) + body['truncated']['stdout'] == 20000010"

section "Values"
run '{"code": "x = 6\ndisplay(\"shown\")\nx * 7"}'
expect "what was shown, then the last expression" "[(v['main'], v['data']['text/plain']) for v in body['results']] == [(False, \"'shown'\"), (True, '42')]" \
	"nothing of it is printed" "body['stdout'] == ''"
run '{"code": "from IPython.display import HTML\nHTML(\"<b>\")"}'
expect "forms by MIME type" "body['results'][0]['data']['text/html'] == '<b>'"

# --- how code ends -----------------------------------------------------------

section "An uncaught exception"
run '{"code": "def divide(a, b):\n    return a / b\n\nprint(\"before\")\ndivide(1, 0)\nprint(\"after\")\n"}'
expect "it is a result, not an HTTP error" "status == 200 and body['status'] == 'error' and body['exitCode'] == 1" \
	"output until then is kept" "body['stdout'] == 'before\n'" \
	"name and value" "body['error']['name'] == 'ZeroDivisionError' and body['error']['value'] == 'division by zero'" \
	"the traceback names lines and shows them" "'File \"/work/main.py\", line 2, in divide\n    return a / b\n' in body['error']['traceback']" \
	"and has frames of the code only" "set(re.findall('File \"(.*?)\"', body['error']['traceback'])) == {'/work/main.py'}"

section "A syntax error"
run '{"code": "print(\"fine\")\nif True print(1)"}'
expect "it is a result too" "status == 200 and body['status'] == 'error' and body['error']['name'] == 'SyntaxError'" \
	"with line and caret" "'line 2' in body['error']['traceback'] and '^' in body['error']['traceback']" \
	"nothing ran" "body['stdout'] == ''"

section "sys.exit"
run '{"code": "import sys\nprint(\"bye\")\nsys.exit(3)"}'
expect "status exit with the code" "body['status'] == 'exit' and body['exitCode'] == 3 and body['stdout'] == 'bye\n'"
run '{"code": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"}'
expect "a crash is one as well, 128 + the signal" "body['status'] == 'exit' and body['exitCode'] == 137"

section "Timeout"
run '{"code": "print(\"started\", flush=True)\nwhile True:\n    pass", "timeout": 0.5}'
expect "interrupted" "status == 200 and body['status'] == 'interrupted' and 'exitCode' not in body" \
	"after its time" "500 <= body['durationMs'] < 5000" \
	"output until then is kept" "body['stdout'] == 'started\n'"
run '{"code": "import time\nwhile True:\n    try:\n        time.sleep(60)\n    except KeyboardInterrupt:\n        print(\"no\", flush=True)", "timeout": 0.5}'
expect "code that refuses is killed" "body['status'] == 'interrupted' and body['stdout'] == 'no\n' and body['durationMs'] < 10000"

section "Executions are isolated"
run '{"code": "x = 41\nimport os\nopen(\"state.txt\", \"w\").write(\"mine\")\nos.environ[\"LEFT\"] = \"1\"\nprint(os.listdir())"}'
expect "the first leaves something" "body['stdout'] == \"['state.txt']\n\""
session=$(value "body.get('sessionId')")
run '{"code": "import os\nprint(\"x\" in globals(), os.listdir(), \"LEFT\" in os.environ)"}'
expect "the next finds nothing of it" "body['stdout'] == 'False [] False\n'" \
	"and has another session" "body['sessionId'] != '$session'"

# --- jobs --------------------------------------------------------------------

section "An asynchronous job"
request POST /v1/jobs '{"code": "import time\ntime.sleep(0.3)\nprint(6 * 7)", "queue": "default", "metadata": {"task": 17}}'
expect "accepted" "status == 202 and body['state'] in ('queued', 'running') and body['queue'] == 'default'" \
	"with its place" "headers['location'] == '/v1/jobs/' + body['id']"
job=$(value "body.get('id')")
request GET "/v1/jobs/$job?wait=30s"
expect "a long poll answers at its end" "status == 200 and body['state'] == 'completed' and body['attempt'] == 1" \
	"with the result" "body['result']['status'] == 'ok' and body['result']['stdout'] == '42\n' and body['result']['jobId'] == '$job'" \
	"with its history" "time(body['createdAt']) <= time(body['startedAt']) <= time(body['finishedAt']) and body['runner']" \
	"with what the caller attached" "body['metadata'] == {'task': 17}"

section "An execution that is not waited for"
run '{"code": "print(1)"}' -H 'Prefer: respond-async'
expect "accepted as a job" "status == 202 and headers['location'] == '/v1/jobs/' + body['id'] and headers['preference-applied'] == 'respond-async'"

section "A delayed job"
request POST /v1/jobs '{"code": "print(\"later\")", "delay": 1.5}'
expect "scheduled" "status == 202 and body['state'] == 'scheduled' and time(body['scheduledAt']) > time(body['createdAt'])"
job=$(value "body.get('id')")
request GET "/v1/jobs/$job?wait=100ms"
expect "it waits" "body['state'] == 'scheduled' and 'startedAt' not in body"
request GET "/v1/jobs/$job?wait=30s"
expect "it ran, and not before its time" "body['state'] == 'completed' and time(body['startedAt']) - time(body['createdAt']) > 1.4"

section "A batch"
request POST /v1/jobs:batch '{"jobs": [{"code": "print(\"one\")"}, {"code": ""}, {"code": "print(\"three\")", "queue": "default"}]}'
expect "answered in the order sent" "status == 202 and len(body['jobs']) == 3 and 'id' in body['jobs'][0] and 'id' in body['jobs'][2]" \
	"a bad one is its own error" "body['jobs'][1]['error']['code'] == 'invalid_request'"
first=$(value "body['jobs'][0].get('id')")
third=$(value "body['jobs'][2].get('id')")
request GET "/v1/jobs/$first?wait=30s"
expect "the first ran" "body['result']['stdout'] == 'one\n'"
request GET "/v1/jobs/$third?wait=30s"
expect "the third ran" "body['result']['stdout'] == 'three\n'"

section "Idempotency key"
key=example-$(date +%s)-$RANDOM$RANDOM
request POST /v1/jobs '{"code": "print(\"once\")"}' -H "Idempotency-Key: $key"
expect "a new job" "status == 202 and 'idempotent-replayed' not in headers"
job=$(value "body.get('id')")
request POST /v1/jobs '{"code": "print(\"once\")"}' -H "Idempotency-Key: $key"
expect "the same job again" "status == 202 and body['id'] == '$job' and headers['idempotent-replayed'] == 'true'"
request POST /v1/jobs '{"code": "print(\"something else\")"}' -H "Idempotency-Key: $key"
problem 409 idempotency_mismatch

section "Cancel"
request POST /v1/jobs '{"code": "import time\nprint(\"started\", flush=True)\ntime.sleep(60)"}'
job=$(value "body.get('id')")
await_state "$job" running
sleep 0.5
request DELETE "/v1/jobs/$job"
expect "a running job is told to end" "status == 202 and body['id'] == '$job'"
request GET "/v1/jobs/$job?wait=10s"
expect "it is cancelled" "body['state'] == 'cancelled'" \
	"with the output so far" "body['result']['status'] == 'interrupted' and body['result']['stdout'] == 'started\n'"
request DELETE "/v1/jobs/$job"
problem 409 already_finished
request POST /v1/jobs '{"code": "print(1)", "delay": 60}'
job=$(value "body.get('id')")
request DELETE "/v1/jobs/$job"
expect "a waiting job is cancelled at once" "status == 200 and body['state'] == 'cancelled' and body['failure']['code'] == 'cancelled'"

section "Listing"
request GET '/v1/jobs?state=completed&limit=2'
expect "a page of two, without results" "status == 200 and len(body['jobs']) == 2 and not any('result' in j for j in body['jobs'])" \
	"only what was asked for" "{j['state'] for j in body['jobs']} == {'completed'}" \
	"newest first" "body['jobs'][0]['id'] > body['jobs'][1]['id']"
cursor=$(value "body.get('nextCursor')")
last=$(value "body['jobs'][-1]['id']")
request GET "/v1/jobs?state=completed&limit=2&cursor=$cursor"
expect "the next page goes on from there" "status == 200 and body['jobs'] and all(j['id'] < '$last' for j in body['jobs'])"

# --- operations --------------------------------------------------------------

section "Queues, runners, health"
request GET /v1/queues
expect "queues with their counts" \
	"all({'name', 'depth', 'active', 'scheduled', 'oldestAge'} <= set(q) for q in body['queues']) and 'default' in [q['name'] for q in body['queues']]"
request GET /v1/runners
expect "at least one runner" "body['runners'] and all(r['id'] and r['concurrency'] > 0 and r['sandbox'] for r in body['runners'])"
request GET /healthz
expect "alive" "status == 200 and body['status'] == 'ok'"
request GET /readyz
expect "ready" "status == 200 and body['status'] == 'ok'"
request GET /metrics
expect "metrics for Prometheus" "status == 200 and '\nkaa_jobs_submitted_total{' in text"

section "The API's own description"
request GET /openapi.json
expect "OpenAPI 3.1" "status == 200 and body['openapi'].startswith('3.1')" \
	"with every route" "{'/process/interpreter/execute', '/v1/jobs', '/v1/jobs:batch', '/v1/jobs/{id}', '/v1/queues', '/v1/runners', '/healthz', '/readyz'} <= set(body['paths'])"
request GET /docs
expect "a page for people" "status == 200 and headers['content-type'].startswith('text/html') and '/v1/jobs' in text" \
	"that loads nothing from elsewhere" "not re.search(r'(src|href)=.?(https?:)?//', text)"

# --- bad input ---------------------------------------------------------------

section "Bad input"
run '{"timeout": 5}'
problem 400 invalid_request
run '{"code": "   "}'
problem 400 invalid_request
expect "it says which field" "body['errors'][0]['location'] == 'body.code'"
run 'print(1)'
problem 400 invalid_request
run '{"code": "print(1)", "timeout": -1}'
problem 400 invalid_request
run '{"code": "print(1)", "timeout": 1e300}'
problem 400 invalid_request
run '{"code": "print(1)", "timeout": "5"}'
problem 400 invalid_request
run '{"code": "print(1)", "tiemout": 5}'
problem 400 invalid_request
run '{"code": "print(1)", "envs": {"1BAD": "x"}}'
problem 400 invalid_request
run '{"code": "print(\"\u0000\")"}'
problem 400 invalid_request
run $'{"code": "print(\'\xff\')"}'
problem 400 invalid_request
content_type=text/plain run '{"code": "print(1)"}'
problem 415 unsupported_media_type
{
	printf '{"code": "#'
	head -c 17000000 /dev/zero | tr '\0' x
	printf '"}'
} >"$work/large"
run "@$work/large"
problem 413 body_too_large
request POST /v1/jobs '{"code": "print(1)", "queue": "no-such-queue"}'
problem 400 invalid_request
request POST /v1/jobs '{"code": "print(1)", "delay": 1, "runAt": "2030-01-01T00:00:00Z"}'
problem 400 invalid_request
request POST /v1/jobs:batch '{"jobs": []}'
problem 400 invalid_request
request GET /v1/jobs/00000000-0000-7000-8000-000000000000
problem 404 not_found
request GET "/v1/jobs/$first?wait=abc"
problem 400 invalid_request
request GET '/v1/jobs?limit=0'
problem 400 invalid_request
request GET /no/such/route
problem 404 no_such_route
request GET /process/interpreter/execute
problem 405 method_not_allowed
if [ -n "${KAA_API_KEY:-}" ]; then
	KAA_API_KEY=wrong-$KAA_API_KEY run '{"code": "print(1)"}'
	problem 401 unauthorized
fi

printf '\n%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
