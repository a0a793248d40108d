# tries: outlive its timeout in C code that never looks for signals
# strict: killed after the grace
# basic: killed after the grace
# end: interrupted
# timeout: 1
# unsandboxed: held because the kill ladder works at every level

re.match("(a?){40}(a*)*b", "a" * 60)
