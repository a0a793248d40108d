package job

import "sync/atomic"

// NetworkSecrets are the operator's secrets at present. They may be replaced while they are used. Nil has none.
type NetworkSecrets struct {
	all atomic.Pointer[[]NetworkSecret]
}

// NewNetworkSecrets returns some secrets.
func NewNetworkSecrets(all ...NetworkSecret) *NetworkSecrets {
	s := new(NetworkSecrets)
	s.Set(all)
	return s
}

// Set replaces the secrets.
func (s *NetworkSecrets) Set(all []NetworkSecret) { s.all.Store(&all) }

// All returns the secrets, which must not be changed.
func (s *NetworkSecrets) All() []NetworkSecret {
	if s == nil {
		return nil
	}
	if all := s.all.Load(); all != nil {
		return *all
	}
	return nil
}
