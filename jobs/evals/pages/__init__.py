"""The HTML of reports: templates, one style sheet, drawings. Nothing is loaded from elsewhere."""
