"""Kibana: dashboards as saved objects, and the client that writes them.

lens           visualizations
navigation     controls, links between dashboards, drill-downs
saved_objects  data views, saved searches and dashboards of a vendor
client         Kibana's API
"""
