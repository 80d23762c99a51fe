"""A page for people who would rather look: HTML made here, no scripts or styles from elsewhere."""
