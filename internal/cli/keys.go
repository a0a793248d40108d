package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/kaa-run/kaa/client"
	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/app"
	"github.com/kaa-run/kaa/internal/job"
)

// KeyOptions describe a key that is to be made.
type KeyOptions struct {
	Tenant, Name string
	Scopes       []string
	// For is how long the key is valid; 0 means no end.
	For    time.Duration
	Limits job.KeyLimits
}

// limits returns the limits of the key; nil for none.
func (o *KeyOptions) limits() *job.KeyLimits {
	if o.Limits.IsZero() && o.Limits.Runtimes == nil && o.Limits.Egress == nil {
		return nil
	}
	return &o.Limits
}

// CreateKey has a key made by the Kaa at KAA_URL, and prints it alone on standard output.
func CreateKey(ctx context.Context, p app.Process, o KeyOptions) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	body := client.KeyBody{Tenant: o.Tenant, Name: &o.Name, Scopes: o.Scopes}
	if o.For != 0 {
		body.ExpiresAt = new(time.Now().Add(o.For).UTC())
	}
	if limits := o.limits(); limits != nil {
		body.Limits = new(client.KeyLimitsBody)
		if err := convert(limits, body.Limits); err != nil {
			return err
		}
	}
	made, err := c.CreateKey(ctx, body)
	if err != nil {
		return err
	}
	if inJSON(p.Stdout) {
		return encode(p.Stdout, made)
	}
	_, err = fmt.Fprintf(p.Stderr, "id %s, tenant %s, scopes %s\n", made.ID, made.Tenant, strings.Join(made.Scopes, ","))
	return errors.Join(err, printed(p.Stdout, made.Key))
}

// convert writes a value as JSON into another type that has the same form.
func convert(from, to any) error {
	text, err := json.Marshal(from)
	if err == nil {
		err = json.Unmarshal(text, to)
	}
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	return nil
}

// KeyEntry makes a key, prints it on standard output, and its entry for KAA_API_KEYS_FILE on standard
// error. It calls no Kaa.
func KeyEntry(p app.Process, o KeyOptions) error {
	secret := access.NewSecret()
	k := access.Key{Tenant: o.Tenant, Name: o.Name, Created: time.Now().UTC().Truncate(time.Second), SHA256: access.Digest(secret), Limits: o.limits()}
	k.ID = k.Tenant + "-" + k.SHA256[:8]
	for _, scope := range o.Scopes {
		k.Scopes = append(k.Scopes, access.Scope(scope))
	}
	if o.For != 0 {
		k.Expires = k.Created.Add(o.For)
	}
	if err := k.Check(); err != nil {
		return wrongFlag(err)
	}
	entry, err := json.Marshal(k)
	if err != nil {
		return fmt.Errorf("encode key: %w", err)
	}
	_, err = fmt.Fprintf(p.Stderr, "%s\n", entry)
	return errors.Join(err, printed(p.Stdout, secret))
}

// wrongFlag names the flag of a field that is wrong: --rate for limits.rate, --ceiling cpus for
// limits.ceilings.cpus.
func wrongFlag(err error) error {
	field, ok := errors.AsType[*access.FieldError](err)
	if !ok {
		return err //nolint:wrapcheck // so it does where it is used
	}
	flag := strings.TrimPrefix(field.Field, "limits.")
	if name, ceiling := strings.CutPrefix(flag, "ceilings"); ceiling {
		flag = "ceiling" + strings.Replace(name, ".", " ", 1)
	}
	// --session-memory-bytes for sessionMemoryBytes.
	if strings.HasPrefix(flag, "session") {
		flag = strings.NewReplacer("Memory", "-memory", "Disk", "-disk", "Bytes", "-bytes").Replace(flag)
	}
	return fmt.Errorf("--%s: %w", flag, field.Err)
}

// ListKeys prints the keys of the Kaa at KAA_URL, or those of a tenant.
func ListKeys(ctx context.Context, p app.Process, tenant string) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	all, err := c.ListKeys(ctx, client.ListKeysParams{Tenant: tenant})
	if err != nil {
		return err
	}
	return list(p.Stdout, "ID TENANT NAME SCOPES EXPIRES LAST_USED SOURCE LIMITS", all.Keys, func(k client.KeyView) []string {
		return []string{
			k.ID, cmp.Or(k.Tenant, "-"), cmp.Or(k.Name, "-"), strings.Join(k.Scopes, ","), moment(k.ExpiresAt), moment(k.LastUsedAt), k.Source, limitsText(k.Limits),
		}
	})
}

// limitsText shows the limits of a key in a table.
func limitsText(k *client.KeyLimitsBody) string {
	if k == nil {
		return "-"
	}
	text, err := json.Marshal(k)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// RevokeKey revokes a key of the Kaa at KAA_URL.
func RevokeKey(ctx context.Context, p app.Process, id string) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	if err := c.RevokeKey(ctx, id); err != nil {
		return err
	}
	if inJSON(p.Stdout) {
		return encode(p.Stdout, map[string]string{"revoked": id})
	}
	return nil
}
