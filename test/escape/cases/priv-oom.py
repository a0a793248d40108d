# tries: make the kernel spare it when memory runs out, and kill others first
# strict: the score can only be made worse
# basic: the score can only be made worse
# end: ok HELD

now = int(read("/proc/self/oom_score_adj"))


def adjust(path, value):
    with open(path, "w") as file:
        file.write(str(value))


for value in sorted({-1000, -999, -1, 0, 100, 500, 999}):
    if value < now or now == 0 and value < 0:
        works("oom_score_adj %d" % value, adjust, "/proc/self/oom_score_adj", value)
if now <= 0:
    escaped("would not be killed before the runner: %d" % now)
works("oom_adj", adjust, "/proc/self/oom_adj", -17)
for pid in strangers():
    opens("/proc/%d/oom_score_adj" % pid, os.O_WRONLY)
code, text = output("choom", "-n", "-1000", "--", "true")
if code == 0:
    escaped("choom")
finish()
