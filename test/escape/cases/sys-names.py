# tries: change the host and domain name
# strict: seccomp refuses
# basic: seccomp refuses
# end: ok HELD

name = os.uname().nodename.encode()
arrives("sethostname", name, len(name))
arrives("sethostname", 0, 10**6, what="sethostname with a wrong length")
arrives("setdomainname", 0, 10**6)
works("sethostname of Python", socket.sethostname, name)
finish()
