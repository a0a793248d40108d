# tries: use up the terminals, of which the machine has some for all sandboxes together
# strict: refused at the limit
# basic: there are none
# end: ok HELD

MOST, ENOUGH = 64, 200
terminals = []
try:
    while len(terminals) < ENOUGH:
        terminals.append(os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY))
except OSError as error:
    note(len(terminals), error)
if len(terminals) > MOST:
    escaped("%d terminals" % len(terminals))
finish()
