// Package store keeps.
package store
