package service

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/kaa-run/kaa/internal/access"
	"github.com/kaa-run/kaa/internal/job"
)

// AddPackages installs packages for a live session, in the order of its executions. Its variables stay.
func (s *Service) AddPackages(ctx context.Context, c Caller, session string, packages []string) (job.AddedPackages, error) {
	var added job.AddedPackages
	if err := c.may(access.Sessions); err != nil {
		return added, err
	}
	list, err := s.LimitsOf(c).CheckPackages(packages)
	if err != nil {
		return added, err
	}
	data, err := s.operate(ctx, c, session, job.OpPackages, job.PackagesArgs{Packages: list})
	if err != nil {
		return added, err
	}
	if err := json.Unmarshal(data, &added); err != nil {
		return added, fmt.Errorf("decode packages: %w", err)
	}
	return added, nil
}
