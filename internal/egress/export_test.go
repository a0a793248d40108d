package egress

// Held returns how many connections the door holds.
func (d *Door) Held() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.open)
}

// Certificates returns how many certificates the door keeps.
func (d *Door) Certificates() int {
	a := d.inspect.authority
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.known)
}
