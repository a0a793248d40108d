package config

import (
	"testing"
)

// TestFitMemory: what is held follows the memory, unless it is set.
func TestFitMemory(t *testing.T) {
	t.Parallel()
	tests := []struct {
		environ         Environment
		most            int64
		bodies, answers int64
	}{
		{nil, 512 << 20, 32 << 20, 128 << 20},
		{nil, 64 << 20, 32 << 20, 16 << 20}, // each of two keys has room for the largest body
		{nil, 64 << 30, 256 << 20, 256 << 20},
		{Environment{"KAA_BODY_MEMORY=50000000", "KAA_ANSWER_MEMORY=7"}, 512 << 20, 50_000_000, 7},
		{Environment{"KAA_BODY_MEMORY=0", "KAA_ANSWER_MEMORY=0"}, 512 << 20, 0, 0},
	}
	for _, tt := range tests {
		c, err := Load(tt.environ)
		if err != nil {
			t.Fatal(err)
		}
		if c.FitMemory(tt.environ, tt.most); c.BodyMemory != tt.bodies || c.AnswerMemory != tt.answers {
			t.Errorf("%v of %d: bodies %d, answers %d; want %d, %d", tt.environ, tt.most, c.BodyMemory, c.AnswerMemory, tt.bodies, tt.answers)
		}
	}
}
