"""A new machine becomes the controller, from a recovery kit and the repositories: `failsafe init --from-kit`. How-to: docs/losing-the-controller.md."""
