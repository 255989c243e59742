"""The part of the simulated search cluster that `setup` talks to: templates, pipelines, policies,
privileges."""

import fnmatch
import json

from elastic_refusal import Refusal

TEMPLATE_KEYS = {
    "index_patterns",
    "priority",
    "data_stream",
    "composed_of",
    "template",
    "_meta",
    "ignore_missing_component_templates",
    "version",
    "allow_auto_create",
}
INNER_KEYS = {"settings", "mappings", "aliases", "lifecycle", "data_stream_options"}


class Templates:
    """Everything a cluster stores except documents. `Cluster` has the attributes."""

    def root(self, method, query, body):
        return {
            "name": "es",
            "cluster_name": "es",
            "version": {
                "number": self.version,
                "build_flavor": "serverless" if self.serverless else "default",
                **({"distribution": self.distribution} if self.distribution else {}),
            },
            "tagline": "You Know, for Search",
        }

    def nodes(self, method, query, body):
        return {
            "nodes": {
                "one": {"ingest": {"processors": [{"type": name} for name in self.processors]}}
            }
        }

    def privileges(self, method, query, body):
        asked = json.loads(body)
        cluster = {name: name not in self.missing_rights for name in asked["cluster"]}
        index = {
            name: {right: right not in self.missing_rights for right in part["privileges"]}
            for part in asked["index"]
            for name in part["names"]
        }
        return {
            "has_all_requested": (
                all(cluster.values()) and all(all(rights.values()) for rights in index.values())
            ),
            "cluster": cluster,
            "index": index,
        }

    def pipeline(self, method, name, query, body):
        if method == "PUT":
            pipeline = json.loads(body)
            for step in pipeline["processors"]:
                kind = next(iter(step))
                if kind not in self.processors:
                    raise Refusal(
                        400, "parse_exception", f"No processor type exists with name [{kind}]"
                    )
            self.pipelines[name] = pipeline
            return {"acknowledged": True}
        return self._named(self.pipelines, name, lambda pipelines: pipelines)

    def component(self, method, name, query, body):
        if method == "PUT":
            template = json.loads(body)
            self._check_inner(template["template"])
            self.components[name] = template
            return {"acknowledged": True}
        return self._named(
            self.components,
            name,
            lambda templates: {
                "component_templates": [
                    {"name": name, "component_template": templates[name]} for name in templates
                ]
            },
        )

    def template(self, method, name, query, body):
        if method == "PUT":
            template = json.loads(body)
            if set(template) - TEMPLATE_KEYS:
                raise Refusal(
                    400,
                    "x_content_parse_exception",
                    f"[index_template] unknown field {sorted(set(template) - TEMPLATE_KEYS)}",
                )
            self._check_inner(template.get("template", {}))
            lacking = (
                set(template.get("composed_of", ()))
                - set(self.components)
                - set(template.get("ignore_missing_component_templates", ()))
            )
            if lacking:
                raise Refusal(
                    400,
                    "invalid_index_template_exception",
                    f"index_template [{name}] invalid, cause [index template [{name}] specifies"
                    f" component templates {sorted(lacking)} that do not exist]",
                )
            for other, there in self.templates.items():
                if (
                    other != name
                    and there["priority"] == template["priority"]
                    and set(there["index_patterns"]) & set(template["index_patterns"])
                ):
                    raise Refusal(
                        400,
                        "illegal_argument_exception",
                        f"index template [{name}] has index patterns matching patterns from"
                        f" existing templates [{other}] with the same priority",
                    )
            index = template.get("template", {}).get("settings", {}).get("index", {})
            self.templates[name] = {
                **template,
                "template": {**template.get("template", {}), "settings": {"index": _texts(index)}},
                "data_stream": {"hidden": False, "allow_custom_routing": False},
            }
            return {"acknowledged": True}
        return self._named(
            self.templates,
            name,
            lambda templates: {
                "index_templates": [
                    {"name": name, "index_template": templates[name]} for name in templates
                ]
            },
        )

    def _check_inner(self, template):
        if set(template) - INNER_KEYS:
            raise Refusal(
                400,
                "x_content_parse_exception",
                f"[template] unknown field {sorted(set(template) - INNER_KEYS)}",
            )
        major, minor = map(int, self.version.split(".")[:2])
        if "data_stream_options" in template and not (
            (8, 19) <= (major, minor) < (9, 0) or (major, minor) >= (9, 1)
        ):
            raise Refusal(
                400, "x_content_parse_exception", "[template] unknown field [data_stream_options]"
            )

    def ism(self, method, name, query, body):
        """Write an ISM policy. An existing one is replaced only if the request has its version."""
        if not self.ism_policies and self.without_ism:
            raise Refusal(400, "illegal_argument_exception", "no handler found for uri")
        there = self.ism_policies.get(name)
        if method == "GET":
            if not there:
                raise Refusal(404, "status_exception", "Policy not found")
            return there
        number = there["_seq_no"] if there else None
        if query.get("if_seq_no", [None])[0] != (str(number) if there else None):
            raise Refusal(409, "version_conflict_engine_exception", f"[{name}]: version conflict")
        policy = json.loads(body)["policy"]
        for state in policy["states"]:
            for action in state["actions"]:
                action["retry"] = {"count": 3, "backoff": "exponential", "delay": "1m"}
        self.ism_policies[name] = {
            "_id": name,
            "_version": 1,
            "_seq_no": (number or 0) + 7,
            "_primary_term": 1,
            "policy": {"policy_id": name, "schema_version": 21, **policy},
        }
        return self.ism_policies[name]

    def _named(self, store, name, shape):
        matches = {key: value for key, value in store.items() if fnmatch.fnmatch(key, name)}
        if not matches and store is self.pipelines:
            raise Refusal(404, "", "")
        if not matches:
            raise Refusal(404, "resource_not_found_exception", f"[{name}] not found")
        return shape(matches)


def _texts(value):
    return (
        {name: _texts(below) for name, below in value.items()}
        if isinstance(value, dict)
        else str(value).lower()
        if isinstance(value, bool)
        else str(value)
    )
