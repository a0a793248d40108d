package job

// BatchRerun says which jobs of another batch a batch runs again.
type BatchRerun struct {
	Of    string // empty: none
	Marks BatchMarks
}
