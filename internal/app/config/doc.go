// Package config reads what a process is started with: the variables KAA_*, checked all at
// once. It starts nothing and connects to nothing; package app does, as the settings say.
package config
