"""What happened and why, as text and pages: why, impact, diff, preview, ablate, export.

Imports plan/, not run/.
"""
