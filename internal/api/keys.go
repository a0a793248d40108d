package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/kaa-run/kaa/internal/service"
)

// KeyBody asks for a key.
type KeyBody struct {
	Tenant    string         `json:"tenant" minLength:"1" maxLength:"64" pattern:"^[A-Za-z0-9._-]+$" doc:"Tenant that the key belongs to. There is no list of tenants: the first key of a tenant makes it." example:"acme"`
	Name      *string        `json:"name,omitempty" nullable:"true" maxLength:"128" doc:"Purpose of the key." example:"grader in CI"`
	Scopes    []string       `json:"scopes,omitempty" nullable:"true" enum:"execute,read,files,sessions,admin" doc:"Rights of the key. Default: all but admin."`
	ExpiresAt *time.Time     `json:"expiresAt,omitempty" nullable:"true" doc:"Time from which it is not valid (RFC 3339). Default: never."`
	Limits    *KeyLimitsBody `json:"limits,omitempty" doc:"Limits of the key, beside those of the configuration: the lower one counts. Default: none."`
}

// KeyView is a key as operators see it.
type KeyView struct {
	ID         string         `json:"id"`
	Tenant     string         `json:"tenant,omitempty" doc:"Absent for the keys of KAA_API_KEYS and KAA_ADMIN_KEYS."`
	Name       string         `json:"name,omitempty"`
	Scopes     []string       `json:"scopes" nullable:"false"`
	CreatedAt  *time.Time     `json:"createdAt,omitempty"`
	ExpiresAt  *time.Time     `json:"expiresAt,omitempty"`
	LastUsedAt *time.Time     `json:"lastUsedAt,omitempty" doc:"To within a minute; absent if no use is known."`
	Limits     *KeyLimitsBody `json:"limits,omitempty" doc:"Limits of the key; absent if it has none of its own."`
	Source     string         `json:"source" enum:"redis,file,environment" doc:"Where it is listed."`
}

// NewKeyView is a key with its secret.
type NewKeyView struct {
	KeyView
	Secret string `json:"key" doc:"The API key. It is shown only now."`
}

type createKeyInput struct{ Body KeyBody }

type createKeyOutput struct{ Body NewKeyView }

type listKeysInput struct {
	Tenant string `query:"tenant" maxLength:"64" doc:"Only the keys of this tenant."`
}

type keysOutput struct {
	Body struct {
		Keys []KeyView `json:"keys" nullable:"false"`
	}
}

// OwnKeyView is what a caller learns about the key of the call.
type OwnKeyView struct {
	Required bool           `json:"required" doc:"Whether this Kaa asks for keys. Where it does not, all callers have the rights in scopes."`
	ID       string         `json:"id,omitempty" doc:"Id of the key, or the subject of a token; absent where no keys are asked for."`
	Tenant   string         `json:"tenant,omitempty" doc:"Tenant for which the call is made."`
	Scopes   []string       `json:"scopes" nullable:"false" doc:"Rights of the call."`
	Limits   *KeyLimitsBody `json:"limits,omitempty" doc:"Limits of the key; absent if it has none of its own."`
}

type ownKeyOutput struct{ Body OwnKeyView }

type revokeKeyInput struct {
	ID string `path:"id" maxLength:"64" doc:"Id of the key."`
}

func (s *server) registerKeys() {
	tags := []string{"Keys"}
	register(s, huma.Operation{
		OperationID: "getOwnKey", Method: http.MethodGet, Path: "/v1/key", Tags: tags, Summary: "Show the key of the call",
		Description: "Needs no scope. It answers 401 for a key that is not valid, so it is a check of a key that does nothing else.",
		Errors:      []int{400, 401, 429, 503},
	}, s.ownKey)
	register(s, huma.Operation{
		OperationID: "createKey", Method: http.MethodPost, Path: "/v1/keys", Tags: tags, DefaultStatus: http.StatusCreated, Summary: "Make an API key of a tenant",
		Description: "Needs the scope admin. Only the key's digest is kept. It is valid at every process within 5 s. A tenant may have several keys, so one can replace another.",
		Errors:      []int{400, 401, 408, 413, 415, 429, 503},
	}, s.createKey)
	register(s, huma.Operation{
		OperationID: "listKeys", Method: http.MethodGet, Path: "/v1/keys", Tags: tags, Summary: "List the API keys",
		Description: "Needs the scope admin.", Errors: []int{400, 401, 429, 503},
	}, s.listKeys)
	register(s, huma.Operation{
		OperationID: "revokeKey", Method: http.MethodDelete, Path: "/v1/keys/{id}", Tags: tags, DefaultStatus: http.StatusNoContent, Summary: "Revoke an API key",
		Description: "Needs the scope admin. The key is refused at every process within 5 s, and calls, streams and sockets that are under way with it end.",
		Errors:      []int{400, 401, 404, 409, 429, 503},
	}, s.revokeKey)
}

func (s *server) ownKey(ctx context.Context, _ *struct{}) (*ownKeyOutput, error) {
	caller := service.CallerOf(ctx)
	required, scopes, limits := s.cfg.Service.OwnKey(caller)
	v := OwnKeyView{Required: required, ID: caller.KeyID, Tenant: caller.Tenant, Scopes: []string{}, Limits: keyLimitsView(limits)}
	for _, scope := range scopes {
		v.Scopes = append(v.Scopes, string(scope))
	}
	return &ownKeyOutput{v}, nil
}

func (s *server) createKey(ctx context.Context, in *createKeyInput) (*createKeyOutput, error) {
	r := service.KeyRequest{Tenant: in.Body.Tenant, Name: value(in.Body.Name), Expires: in.Body.ExpiresAt, Limits: in.Body.Limits.limits()}
	if in.Body.Scopes != nil {
		r.Scopes = make([]service.Scope, 0, len(in.Body.Scopes)) // an empty list is none, and not the default
	}
	for _, scope := range in.Body.Scopes {
		r.Scopes = append(r.Scopes, service.Scope(scope))
	}
	k, secret, err := s.cfg.Service.CreateKey(ctx, service.CallerOf(ctx), r)
	if err != nil {
		return nil, err
	}
	return &createKeyOutput{NewKeyView{keyView(service.KeyInfo{Key: k, Source: "redis"}), secret}}, nil
}

func (s *server) listKeys(ctx context.Context, in *listKeysInput) (*keysOutput, error) {
	keys, err := s.cfg.Service.Keys(ctx, service.CallerOf(ctx), in.Tenant)
	out := new(keysOutput)
	out.Body.Keys = make([]KeyView, len(keys))
	for i, k := range keys {
		out.Body.Keys[i] = keyView(k)
	}
	return out, err
}

func (s *server) revokeKey(ctx context.Context, in *revokeKeyInput) (*struct{}, error) {
	return nil, s.cfg.Service.RevokeKey(ctx, service.CallerOf(ctx), in.ID)
}

func keyView(k service.KeyInfo) KeyView {
	v := KeyView{
		ID: k.ID, Tenant: k.Tenant, Name: k.Name, Scopes: []string{}, Source: k.Source,
		CreatedAt: optional(k.Created), ExpiresAt: optional(k.Expires), LastUsedAt: optional(k.Used),
		Limits: keyLimitsView(k.Limits),
	}
	scopes := k.Scopes
	if len(scopes) == 0 {
		scopes = service.UsualScopes()
	}
	for _, scope := range scopes {
		v.Scopes = append(v.Scopes, string(scope))
	}
	return v
}
