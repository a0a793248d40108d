package oidc

import (
	"context"

	"github.com/kaa-run/kaa/internal/access"
)

// Judge verifies a token without remembering it.
func (t *Tokens) Judge(ctx context.Context, token string) (*access.Grant, error) {
	return t.judge(ctx, token, t.cfg.Now())
}
