package mcp

// instructions explain to a model how the tools belong together.
const instructions = `Kaa runs Python and shell commands in sandboxes without a network.

- run_code keeps variables, imports and files in a session. Choose a name for the session that other conversations do not use, such as sales-report-7f3, and pass the same name in later calls. A session that is not used for some minutes ends, with its variables and files.
- run_code_fresh runs a program once and keeps nothing.
- run_command runs a line of the shell among the files of a session.
- Show values as in a notebook: the last expression of the code is returned, data frames as tables, matplotlib figures as pictures. Print what you need to see, not everything: long output is cut in the middle.
- write_file puts data into a session; read_file, list_files and search_files look at its files. The working directory is /work.
- checkpoint_session and rollback_session undo what code has done; fork_session tries several ways from the same state.
- Results that are errors say what to change.`
