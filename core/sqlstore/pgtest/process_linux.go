package pgtest

import "syscall"

// bindToParent ends the server at once when the test process is gone: SIGQUIT is
// PostgreSQL's immediate shutdown.
func bindToParent(attributes *syscall.SysProcAttr) { attributes.Pdeathsig = syscall.SIGQUIT }
