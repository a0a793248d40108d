package config

import (
	"fmt"

	"github.com/kaa-run/kaa/internal/job"
	"github.com/kaa-run/kaa/internal/jsonfile"
)

// secretsFormat is that of the file of secrets.
//
//nolint:gochecknoglobals // constant
var secretsFormat = jsonfile.Format{Most: 4 << 20, Fields: "a secret has name, value, to, tenants and plain", Secret: true}

// secretEntry is a secret in the file.
type secretEntry struct {
	Name    string   `json:"name"`
	Value   string   `json:"value"`
	To      []string `json:"to"`
	Tenants []string `json:"tenants"`
	Plain   bool     `json:"plain"`
}

// SecretsIn reads the secrets that a file lists: {"secrets": [...]}. Its errors have no value of a secret.
func SecretsIn(path string) ([]job.NetworkSecret, error) {
	var file struct {
		Secrets *[]secretEntry `json:"secrets"`
	}
	if err := secretsFormat.Read(path, &file); err != nil {
		return nil, err
	}
	if file.Secrets == nil {
		return nil, fmt.Errorf(`%s: want {"secrets": [{"name", "value", "to", "tenants"}]}`, path)
	}
	all, err := checkedSecrets(*file.Secrets)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return all, nil
}

func checkedSecrets(entries []secretEntry) ([]job.NetworkSecret, error) {
	all, names := make([]job.NetworkSecret, len(entries)), map[string]bool{}
	for i, e := range entries {
		s := job.NetworkSecret{Name: e.Name, Value: job.Secret(e.Value), Tenants: e.Tenants, Plain: e.Plain}
		var err error
		if s.To, err = job.ParseNetworkRules(e.To); err != nil {
			return nil, fmt.Errorf("secret %d: to: %w", i+1, err)
		}
		if err := s.Check(); err != nil {
			return nil, fmt.Errorf("secret %d: %w", i+1, err)
		}
		if names[s.Name] {
			return nil, fmt.Errorf("secret %d: %s occurs twice", i+1, s.Name)
		}
		all[i], names[s.Name] = s, true
	}
	return all, nil
}
