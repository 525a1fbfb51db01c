"""Did it get better? What a run's evaluation says, and what it cannot say: `solon report`."""
