package config

// A body is held several times for a moment: as it came, as values, as what Redis gets. An
// answer counts all that is held for it.
const bodyParts, answerParts = 16, 4

// FitMemory lowers the memory of bodies and answers so that it fits into a group of that size.
func (c *Config) FitMemory(environ Environment, most int64) {
	if environ.Get("KAA_BODY_MEMORY") == "" {
		c.BodyMemory = max(2*c.MaxBodyBytes, min(c.BodyMemory, most/bodyParts))
	}
	if environ.Get("KAA_ANSWER_MEMORY") == "" {
		c.AnswerMemory = min(c.AnswerMemory, most/answerParts)
	}
}
