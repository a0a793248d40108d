package interpreter

// MayHaveLeft reports whether Collect has to ask the slot.
func (w *Worker) MayHaveLeft() bool { return w.files.left }
