"""The ASGI application.

Owns: which routers and layers it is made of. Must not know: sockets, processes, how services are
made.
"""

from importlib.metadata import version

from fastapi import APIRouter, FastAPI

from jobs.api import batches, chat, completions, files, health, models
from jobs.api.edge import Edge
from jobs.api.errors import add_error_handlers
from jobs.api.openapi import leave_out_unused
from jobs.api.page import routes as page
from jobs.api.services import Services

__all__ = ["ROUTERS", "create_app"]

ROUTERS: tuple[APIRouter, ...] = (
    files.router,
    batches.router,
    models.router,
    chat.router,
    completions.router,
    health.router,
    page.router,
)


def create_app(services: Services) -> FastAPI:
    """An app on `services`; it opens and closes nothing."""
    app = FastAPI(
        title="headrace",
        version=version("headrace"),
        description="OpenAI's Files, Batches and Models on a queue of your own.",
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.services = services
    for router in ROUTERS:
        app.include_router(router)
    add_error_handlers(app)
    leave_out_unused(app)
    app.add_middleware(Edge, metrics=services.metrics)
    return app
