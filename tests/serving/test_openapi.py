from rexjax.serving.openapi import describe

PATHS = {"recommend", "events", "explain", "compare", "items", "items/{item}/similar"}


def test_it_names_every_path_and_whole_numbers():
    found = describe(100, False)
    assert set(found["paths"]) == {f"/v1/{path}" for path in PATHS}
    schemas = found["components"]["schemas"]
    ranges = {
        name: (schemas[name]["properties"]["k"]["minimum"], schemas[name]["properties"]["k"]["maximum"])
        for name in ("Recommend", "Compare")
    }
    assert ranges == {"Recommend": (1, 100), "Compare": (1, 20)}


def test_keys_are_promised_only_where_they_are_asked_for():
    assert "security" not in describe(100, False) and describe(100, True)["security"] == [{"key": []}]
