# tries: outlive its timeout: catches KeyboardInterrupt and SystemExit for ever, in threads and finalizers too
# strict: killed after the grace
# basic: killed after the grace
# end: interrupted
# timeout: 1
# unsandboxed: held because the kill ladder works at every level

def stay():
    while staying():
        try:
            time.sleep(0.01)
        except BaseException:
            pass


class Stay:
    def __del__(self):
        stay()


thing = Stay()
threading.Thread(target=stay).start()
try:
    stay()
finally:
    stay()
