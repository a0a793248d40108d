package main

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/kaa-run/kaa/internal/app"
)

// twoSignals passes on the first two signals that ask for the end. The third ends this process at once, after last, which undoes what
// would outlive the process.
func twoSignals(last func()) <-chan os.Signal {
	received := make(chan os.Signal, 3)
	signal.Notify(received, os.Interrupt, syscall.SIGTERM)
	app.NotifyHangup(received)
	return passTwo(received, func(s os.Signal) {
		last()
		signal.Reset(s)
		if number, ok := s.(syscall.Signal); ok {
			_ = syscall.Kill(os.Getpid(), number) // its default is the end
		}
	})
}

// passTwo passes two signals on, and calls end with the third.
func passTwo(received <-chan os.Signal, end func(os.Signal)) <-chan os.Signal {
	passed := make(chan os.Signal, 2) // has room for both, so that the third is seen also if the others are not taken
	go func() {
		passed <- <-received
		passed <- <-received
		end(<-received)
	}()
	return passed
}
