"""Links from the HTML representation to the pages of the documentation."""

from __future__ import annotations

URL = "https://sklearn-vae.readthedocs.io/en/stable"


class DocumentationLinkMixin:
    """Estimators and components whose HTML representation links to their API page.

    Their classes are public in the package that holds their file.
    """

    _doc_link_module = "sklearn_vae"
    _doc_link_template = f"{URL}/api/generated/{{package}}.{{name}}.html"

    def _doc_link_url_param_generator(self) -> dict[str, str]:
        return {"package": type(self).__module__.rpartition(".")[0], "name": type(self).__name__}
