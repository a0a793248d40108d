package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

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
	if o.Limits.IsZero() && o.Limits.Runtimes == nil {
		return nil
	}
	return &o.Limits
}

// madeKey is a key in the answers of the API.
type madeKey struct {
	ID         string         `json:"id"`
	Tenant     string         `json:"tenant,omitempty"`
	Name       string         `json:"name,omitempty"`
	Scopes     []string       `json:"scopes,omitempty"`
	ExpiresAt  *time.Time     `json:"expiresAt,omitempty"`
	LastUsedAt *time.Time     `json:"lastUsedAt,omitempty"`
	Source     string         `json:"source,omitempty"`
	Limits     *job.KeyLimits `json:"limits,omitempty"`
	Secret     string         `json:"key,omitempty"`
}

// operator returns a client of the Kaa at KAA_URL.
func operator(environ app.Environment) (client, error) {
	c := client{url: environ.Get("KAA_URL"), key: environ.Get("KAA_API_KEY")}
	if c.url == "" {
		return c, errors.New("set KAA_URL to the address of a Kaa, and KAA_API_KEY to a key that may do this")
	}
	return c, nil
}

// CreateKey has a key made by the Kaa at KAA_URL, and prints it alone on standard output.
func CreateKey(ctx context.Context, p app.Process, o KeyOptions) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	body := map[string]any{"tenant": o.Tenant, "name": o.Name}
	if len(o.Scopes) > 0 {
		body["scopes"] = o.Scopes
	}
	if o.For != 0 {
		body["expiresAt"] = time.Now().Add(o.For).UTC()
	}
	if limits := o.limits(); limits != nil {
		body["limits"] = limits
	}
	var made madeKey
	if err := c.json(ctx, http.MethodPost, "/v1/keys", body, &made); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.Stderr, "id %s, tenant %s, scopes %s\n", made.ID, made.Tenant, strings.Join(made.Scopes, ","))
	return errors.Join(err, printed(p.Stdout, made.Secret))
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

func printed(w io.Writer, line string) error {
	_, err := fmt.Fprintln(w, line)
	return err
}

// ListKeys prints the keys of the Kaa at KAA_URL, or those of a tenant.
func ListKeys(ctx context.Context, p app.Process, tenant string) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	path := "/v1/keys"
	if tenant != "" {
		path += "?tenant=" + url.QueryEscape(tenant)
	}
	var list struct{ Keys []madeKey }
	if err := c.json(ctx, http.MethodGet, path, nil, &list); err != nil {
		return err
	}
	table := tabwriter.NewWriter(p.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "ID\tTENANT\tNAME\tSCOPES\tEXPIRES\tLAST USED\tSOURCE\tLIMITS")
	for _, k := range list.Keys {
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, cmp.Or(k.Tenant, "-"), cmp.Or(k.Name, "-"), strings.Join(k.Scopes, ","), moment(k.ExpiresAt), moment(k.LastUsedAt), k.Source, limitsText(k.Limits))
	}
	return table.Flush()
}

// limitsText shows the limits of a key in a table.
func limitsText(k *job.KeyLimits) string {
	if k.IsZero() {
		return "-"
	}
	text, err := json.Marshal(k)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func moment(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return t.UTC().Format(time.RFC3339)
}

// RevokeKey revokes a key of the Kaa at KAA_URL.
func RevokeKey(ctx context.Context, p app.Process, id string) error {
	c, err := operator(p.Environ)
	if err != nil {
		return err
	}
	return c.json(ctx, http.MethodDelete, "/v1/keys/"+url.PathEscape(id), nil, nil)
}

// json sends a body and decodes the answer, if they are given.
func (c client) json(ctx context.Context, method, path string, body, answer any) error {
	header, content := http.Header{}, io.Reader(nil)
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
		header.Set("Content-Type", "application/json")
		content = bytes.NewReader(text)
	}
	res, err := c.call(ctx, method, path, content, header)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if answer == nil {
		return nil
	}
	if err := json.NewDecoder(res.Body).Decode(answer); err != nil {
		return fmt.Errorf("decode answer: %w", err)
	}
	return nil
}
