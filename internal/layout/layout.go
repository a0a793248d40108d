// Package layout holds the test of the import directions between Kaa's packages.
// It has no code.
package layout
