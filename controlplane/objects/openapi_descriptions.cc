// What `kubectl explain` says about the kinds and fields that matter here, in our own words.
#include <algorithm>
#include <iterator>

#include "controlplane/objects/openapi_parts.h"

namespace fairlead::controlplane {
namespace {

struct Description {
  std::string_view definition;  // without "io.k8s.api."
  std::string_view field;       // "": the definition itself
  std::string_view text;
};

constexpr std::string_view kPrefix = "io.k8s.api.";

constexpr Description kDescriptions[] = {
    {"coordination.v1.Lease", "", "A claim that its holder must renew."},
    {"core.v1.ConfigMap", "", "Configuration as keys and values."},
    {"core.v1.ConfigMap", "binaryData", "Values that are not UTF-8 text, in base64."},
    {"core.v1.ConfigMap", "data", "Values that are UTF-8 text."},
    {"core.v1.ConfigMap", "immutable", "Once true, neither it nor the data can change."},
    {"core.v1.Endpoints", "", "Addresses behind a Service, in the old form."},
    {"core.v1.Event", "", "Something that happened to an object."},
    {"core.v1.Namespace", "", "A scope for names."},
    {"core.v1.Node", "", "A machine that runs pods."},
    {"core.v1.NodeSpec", "podCIDRs",
     "Ranges for the addresses of the node's pods, one per family."},
    {"core.v1.NodeSpec", "unschedulable", "True: no new pods."},
    {"core.v1.Pod", "", "Containers that run together and share an address."},
    {"core.v1.PodSpec", "containers", "The containers; at least one."},
    {"core.v1.PodSpec", "hostNetwork", "True: the pod uses the node's network."},
    {"core.v1.PodSpec", "hostname", "The name of the pod in DNS, below its subdomain."},
    {"core.v1.PodSpec", "nodeName", "The node that runs the pod."},
    {"core.v1.PodSpec", "subdomain", "The headless Service below which the pod has a name in DNS."},
    {"core.v1.Secret", "", "Confidential values."},
    {"core.v1.Secret", "data", "Values in base64."},
    {"core.v1.Secret", "stringData", "Values as text; written only, merged into data."},
    {"core.v1.Secret", "type",
     "What the values are for, such as kubernetes.io/tls. Cannot change."},
    {"core.v1.Service", "", "A stable address and name for a set of pods."},
    {"core.v1.ServicePort", "appProtocol", "The protocol spoken on the port, as a hint."},
    {"core.v1.ServicePort", "name", "Names the port; needed when there are several."},
    {"core.v1.ServicePort", "nodePort", "The port on every node, for NodePort and LoadBalancer."},
    {"core.v1.ServicePort", "port", "The port on the Service's own address, 1 to 65535."},
    {"core.v1.ServicePort", "protocol", "TCP, UDP or SCTP. Default: TCP."},
    {"core.v1.ServicePort", "targetPort",
     "The port of the pods, by number or by name. Default: the same as port."},
    {"core.v1.ServiceSpec", "clusterIP",
     "The address in the cluster; None for a headless Service. Chosen when empty; cannot change."},
    {"core.v1.ServiceSpec", "clusterIPs", "The addresses in the cluster, at most one per family."},
    {"core.v1.ServiceSpec", "externalIPs", "Further addresses that nodes accept traffic for."},
    {"core.v1.ServiceSpec", "externalName",
     "The DNS name that an ExternalName Service stands for."},
    {"core.v1.ServiceSpec", "externalTrafficPolicy",
     "Cluster: traffic from outside goes to any endpoint. Local: to the node's own ones only, with "
     "the client's address kept."},
    {"core.v1.ServiceSpec", "internalTrafficPolicy",
     "Cluster: traffic from pods goes to any endpoint. Local: to the node's own ones only."},
    {"core.v1.ServiceSpec", "ipFamilies", "IPv4, IPv6 or both, the main one first."},
    {"core.v1.ServiceSpec", "ipFamilyPolicy", "SingleStack, PreferDualStack or RequireDualStack."},
    {"core.v1.ServiceSpec", "ports", "The ports that the Service answers on."},
    {"core.v1.ServiceSpec", "publishNotReadyAddresses", "True: pods count whether ready or not."},
    {"core.v1.ServiceSpec", "selector",
     "The labels of the pods behind the Service. Without it, endpoints are yours to write."},
    {"core.v1.ServiceSpec", "sessionAffinity",
     "ClientIP: one client keeps to one endpoint. Default: None."},
    {"core.v1.ServiceSpec", "type", "ClusterIP (default), NodePort, LoadBalancer or ExternalName."},
    {"discovery.v1.Endpoint", "addresses", "Addresses of one endpoint; the first one is used."},
    {"discovery.v1.Endpoint", "conditions",
     "Whether it takes traffic: ready, serving, terminating."},
    {"discovery.v1.Endpoint", "nodeName", "The node of the endpoint."},
    {"discovery.v1.EndpointSlice", "", "Some of the endpoints of a Service."},
    {"discovery.v1.EndpointSlice", "addressType", "IPv4, IPv6 or FQDN. Cannot change."},
    {"discovery.v1.EndpointSlice", "endpoints", "The endpoints, at most 1000."},
    {"discovery.v1.EndpointSlice", "ports", "The ports that every endpoint of the slice has."},
    {"networking.v1.HTTPIngressPath", "backend", "Where requests for the path go."},
    {"networking.v1.HTTPIngressPath", "path", "What the path of a request is compared with."},
    {"networking.v1.HTTPIngressPath", "pathType",
     "Exact, Prefix (whole path elements) or ImplementationSpecific."},
    {"networking.v1.Ingress", "", "Rules that lead HTTP requests from outside to Services."},
    {"networking.v1.IngressClass", "", "Names the controller of a class of Ingresses."},
    {"networking.v1.IngressClassSpec", "controller", "The controller. Cannot change."},
    {"networking.v1.IngressRule", "host",
     "The host of the requests; *.example.com takes one label more; empty takes every host."},
    {"networking.v1.IngressSpec", "defaultBackend", "Where requests go that no rule matches."},
    {"networking.v1.IngressSpec", "ingressClassName", "The IngressClass that is to serve this."},
    {"networking.v1.IngressSpec", "rules", "Rules by host and path."},
    {"networking.v1.IngressSpec", "tls", "Certificates by host."},
    {"networking.v1.IngressTLS", "secretName",
     "The kubernetes.io/tls Secret with the certificate."},
};

constexpr Description kEverywhere[] = {
    {"", "apiVersion", "The group and version of this object's form."},
    {"", "kind", "The type of this object."},
    {"", "metadata", "Name, namespace, labels and other standard data."},
    {"", "spec", "What is wanted."},
    {"", "status", "What was last seen. Written by the system."},
};

}  // namespace

std::string_view openapi_description(std::string_view definition, std::string_view field) {
  if (definition.starts_with(kPrefix)) {
    const std::string_view name = definition.substr(kPrefix.size());
    for (const Description& row : kDescriptions)
      if (row.definition == name && row.field == field) return row.text;
  }
  for (const Description& row : kEverywhere)
    if (!field.empty() && row.field == field) return row.text;
  return {};
}

}  // namespace fairlead::controlplane
