"""What stays up, and what people do there: server, worker, deployments, approvals, doctor.

Imports run/, explain/ and plan/.
"""
