"""What people read: findings about this machine and about what setvae wrote."""
